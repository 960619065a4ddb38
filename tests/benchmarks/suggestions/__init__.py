"""What a suggested rate is worth: the loss it trains to, against every rate of a grid."""
