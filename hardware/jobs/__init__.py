"""Jobs from work to checked, stored results: logged, sent, found again, paid for once."""
