#!/bin/sh
# Run a command in a folder as in a container. In a mount namespace of its own, as root:
#
#     unshare --mount in-image.sh ROOT PYTHON ro|rw [HOST_FOLDER:FOLDER ...] -- COMMAND ...
#
# The system's /usr, and the Python with the prefix PYTHON, are those of the image. FOLDERs and /tmp
# are writable, and everything else only with rw.
set -eu
root=$1 python=$2 mode=$3
shift 3
mkdir -p "$root/usr" "$root/proc" "$root/dev" "$root/tmp" "$root/etc/ssl" "$root/opt" "$root/$python"
mount --bind "$root" "$root"
mount --bind /usr "$root/usr"
mount --bind "$python" "$root/$python"
for link in bin lib lib64 sbin; do
    [ -e "$root/$link" ] || [ ! -e "/$link" ] || ln -s "usr/$link" "$root/$link"
done
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind /etc/ssl "$root/etc/ssl"
for file in hosts resolv.conf nsswitch.conf; do
    touch "$root/etc/$file"
    mount --bind "/etc/$file" "$root/etc/$file"
done
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do
    mkdir -p "$root/${1#*:}"
    mount --bind "${1%%:*}" "$root/${1#*:}"
    shift
done
shift
mount -o "remount,bind,ro" "$root/usr"
mount -o "remount,bind,ro" "$root/$python"
[ "$mode" = rw ] || mount -o remount,bind,ro "$root"
exec /usr/sbin/chroot "$root" "$@"
