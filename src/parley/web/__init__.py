"""What every HTTP face of Parley shares, and no more: none of it knows a room or a dialect."""
