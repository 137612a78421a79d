"""The files of models on this machine: found, verified, fetched, added.

Nothing is ever loaded unverified.
"""

from gpu_worker.models.files import (
    face_detector,
    folder,
    is_present,
    locate,
    path_of,
    sha256_of,
    verify,
    verify_installed,
    way_out,
)

__all__ = [
    "face_detector",
    "folder",
    "is_present",
    "locate",
    "path_of",
    "sha256_of",
    "verify",
    "verify_installed",
    "way_out",
]
