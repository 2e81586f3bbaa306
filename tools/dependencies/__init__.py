"""The packages that the images install, with their hashes, and the software bill of materials."""
