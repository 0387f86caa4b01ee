# shellcheck shell=bash disable=SC2154 # here comes from build
# What the recipes share: making an OCI layout on the base, and adding layers to it.
#
#   image_new LAYOUT                     a layout with the base as its first layer
#   image_install LAYOUT PACKAGE...      a layer: apt-get install inside the image
#   image_change LAYOUT FUNCTION         a layer: what `FUNCTION ROOTFS` changes in the unpacked image; what it removes
#                                        becomes whiteouts
#   image_add_tar LAYOUT TAR COMMENT     a layer: TAR as it is, for what no unpacked tree can express
image_new() {
	local base
	base=$("$here/build" base)
	umoci init --layout "$1"
	umoci new --image "$1:latest"
	umoci raw add-layer --image "$1:latest" --history.created_by "mmdebstrap bookworm" "$base/base.tar"
	umoci config --image "$1:latest" --config.cmd /bin/bash --config.env PATH=/usr/sbin:/usr/bin:/sbin:/bin
}

# Mounts are made in a namespace of their own, so that nothing stays mounted whatever happens. Where even that is
# forbidden (an unprivileged container) the installation goes on without /proc.
image_chroot() {
	local root=$1
	shift
	# shellcheck disable=SC2016
	unshare --mount --propagation private sh -c '
		root=$1
		shift
		mount -t proc proc "$root/proc" || true
		mount --rbind /dev "$root/dev" || true
		exec chroot "$root" "$@"' sh "$root" \
	    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
}

install_packages() {
	local root=$1
	shift
	cp -L /etc/resolv.conf "$root/etc/resolv.conf"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	image_chroot "$root" apt-get update
	image_chroot "$root" apt-get install -y --no-install-recommends "$@"
	image_chroot "$root" apt-get clean
	rm -rf "$root/usr/sbin/policy-rc.d" "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*
}

image_change() {
	local layout=$1 change=$2
	shift 2
	umoci unpack --image "$layout:latest" bundle
	"$change" bundle/rootfs "$@"
	umoci repack --image "$layout:latest" --history.created_by "$change $*" bundle
	rm -rf bundle
}

image_install() {
	local layout=$1
	shift
	image_change "$layout" install_packages "$@"
}

image_add_tar() {
	umoci raw add-layer --image "$1:latest" --history.created_by "$3" "$2"
}

image_done() {
	umoci gc --layout "$1"
}
