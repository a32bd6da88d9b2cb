"""How files that people bring are read: only regular ones, text in the encodings of editors, arrays that hold what they claim."""
