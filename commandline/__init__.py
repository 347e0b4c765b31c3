"""The commands of `notus`, by subject; their imports are inside, so that `notus --help` answers at once."""
