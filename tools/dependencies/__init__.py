"""What EMM depends on, for the images: the packages with their hashes, and the software bill of materials."""
