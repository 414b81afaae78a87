"""Clips: probing, decoding, encoding, joining and checking, all through PyAV and Pillow."""
