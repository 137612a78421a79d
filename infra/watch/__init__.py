"""A local folder as a bucket: what is dropped there is sent, and its result is written
beside it or into another folder.
"""
