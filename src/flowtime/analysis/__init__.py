"""What two sets of series say together."""
