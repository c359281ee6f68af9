"""Hashes of files, by which results say what they were made with."""

import hashlib


def file_sha256(*paths) -> str:
    """Returns the SHA-256 of files, one after another, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
