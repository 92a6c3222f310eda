"""The service and its devices: backends, accounts, execution modes, and what the errors of the client mean."""
