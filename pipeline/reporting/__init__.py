"""What the report's pages are made of: charts, curves, panels, the contact sheet, templates."""
