"""`qhybrid hardware ...`: commands, their options, and the tables that they print."""
