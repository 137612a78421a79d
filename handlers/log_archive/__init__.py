"""The audit log that has grown old: months as Parquet in the archive bucket, and
questions in SQL over live and archived months alike.
"""
