"""The commands of `filterd`."""
