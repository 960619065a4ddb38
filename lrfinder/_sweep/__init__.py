"""The range-test loop: rates in, losses out."""
