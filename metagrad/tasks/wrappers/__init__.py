"""Tasks around other tasks, one file each."""
