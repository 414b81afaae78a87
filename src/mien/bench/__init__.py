"""Measuring: quality and speed."""
