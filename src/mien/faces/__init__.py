"""Faces through time: tracks, smoothing, people, and the model-free swapper."""
