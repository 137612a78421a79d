"""The API under `/v1`: photos brought in, what became of them, and what can be asked
for. Its shapes are contracts.
"""
