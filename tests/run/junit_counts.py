"""Prints "passed failed skipped" of a JUnit XML file, as pytest writes it."""

import sys
import xml.etree.ElementTree

passed = failed = skipped = 0
for suite in xml.etree.ElementTree.parse(sys.argv[1]).iter("testsuite"):
    bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    failed += bad
    skipped += int(suite.get("skipped", 0))
    passed += max(0, int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0)))
print(passed, failed, skipped)
