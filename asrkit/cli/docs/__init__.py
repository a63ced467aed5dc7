"""The command tree as plain data, and what is written from it: man pages, completion scripts."""
