"""A second compressor behind the first: the same code with a row of its own."""
