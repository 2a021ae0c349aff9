"""Verification packs: files, and the commands that they name."""
