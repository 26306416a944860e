"""Models and vectors in the formats of other libraries, and on the Hugging Face hub."""
