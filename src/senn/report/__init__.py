"""A run as one HTML file that a person would rather look at than read numbers.

The file needs no network: style, script, figures and pictures are inside it, and a content
security policy forbids the rest. Figures are SVG made here; hovering explains their marks.
"""

from senn.report.page import render as render
from senn.report.page import write_report as write_report
