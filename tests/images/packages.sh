# shellcheck shell=bash
# Package trees as npm and pip leave them, written by hand, so that they belong to no Debian package.
#
#   npm_package DIR NAME VERSION [LICENSE]        DIR/NAME/package.json and a few files
#   python_package SITE NAME VERSION [MODULE]     SITE/MODULE/ and SITE/NAME-VERSION.dist-info/
npm_package() {
	local dir=$1/$2
	mkdir -p "$dir/lib"
	printf '{\n  "name": "%s",\n  "version": "%s",\n  "license": "%s",\n  "main": "lib/index.js"\n}\n' \
	    "$2" "$3" "${4:-MIT}" >"$dir/package.json"
	printf "'use strict';\n\nmodule.exports = { name: '%s', version: '%s' };\n" "$2" "$3" >"$dir/lib/index.js"
	printf '# %s\n\nVersion %s.\n' "$2" "$3" >"$dir/README.md"
}

python_package() {
	local site=$1 name=$2 version=$3 module=${4:-$2}
	local info=$site/$name-$version.dist-info
	mkdir -p "$site/$module" "$info"
	printf '__version__ = "%s"\n' "$version" >"$site/$module/__init__.py"
	printf 'Metadata-Version: 2.1\nName: %s\nVersion: %s\nLicense: MIT\nSummary: A module\n\nText.\n' \
	    "$name" "$version" >"$info/METADATA"
	printf 'pip\n' >"$info/INSTALLER"
	printf '%s\n' "$module" >"$info/top_level.txt"
	printf '%s/__init__.py,,\n%s/METADATA,,\n' "$module" "${info##*/}" >"$info/RECORD"
}
