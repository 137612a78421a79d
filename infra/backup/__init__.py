"""The backup: a second copy of everything that cannot be made again, and the way back
from it.

A backup lies in a *vault*, a folder or a bucket, and is only ever added to: *blobs*,
named by their checksum, and a *manifest* for each run, which says which blob each
object, table and file was at that time. A full manifest is written each day, the others
say what changed since the one before.
"""
