"""What holds of every dialect: the same stories, told by the clients of each."""
