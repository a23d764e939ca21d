"""Dead letters as an operator handles them: found, chosen, sent back, given up, exported."""
