"""The admin calls: shapes.py what they answer, views.py how records become that, table.py which there are and for whom."""
