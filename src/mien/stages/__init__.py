"""What is done to faces: settings become functions over frames and faces. They keep no state."""
