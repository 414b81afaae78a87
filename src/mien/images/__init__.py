"""Arrays in, arrays out: geometry, colour, crops and pastes on a frame's own planes."""
