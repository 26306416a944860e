"""What we learn from: masked and inverse-cloze examples, questions with answers."""
