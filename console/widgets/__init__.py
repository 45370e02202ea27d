"""What screens are built of: tables, panels, bars, and the cells in them."""
