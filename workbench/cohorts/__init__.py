"""Images of patients: tables, files and pixels as one value."""
