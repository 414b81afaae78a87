"""Running jobs: threads, folders, resume, verbs."""
