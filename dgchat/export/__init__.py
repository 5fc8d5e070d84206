"""A trace as a file for others: pictures, films, a page. Knows no model, and no terminal but in what it writes."""
