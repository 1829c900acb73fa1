"""Maintainers' scripts; not in the wheel."""
