#!/bin/sh
# Boots a systemd over a copy of this machine's root that vanishes with it: this machine's programs, none of its services, no network but a
# loopback interface of its own. $1 is an empty folder, into which it writes its process id; $2 a folder that is there read-only, under its
# own name.
set -eu
folder=$1 shown=$2

if [ "${3-}" != inside ]; then
    # A control group of its own, so that the one of this machine keeps its shape.
    groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    mkdir "$groups/lockgate-test-$$"
    echo $$ >"$groups/lockgate-test-$$/cgroup.procs"
    echo "$groups/lockgate-test-$$" >"$folder/group"
    exec unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child=KILL "$0" "$folder" "$shown" inside
fi

# The old /proc still counts as outside does.
read -r pid _ </proc/self/stat
mount --make-rprivate /
echo "$pid" >"$folder/pid.new"
mv "$folder/pid.new" "$folder/pid"
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
mkdir -p "$folder/root$shown"
mount --bind -o ro "$shown" "$folder/root$shown"
cd "$folder/root"

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<END
$device
END
    mknod -m 666 "dev/$name" c "$major" "$minor"
done
mkdir dev/shm dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp

# Nothing of what this machine mounts or starts, nor forbids to start.
: >etc/fstab
rm -rf etc/systemd/system/*.wants etc/crypttab usr/sbin/policy-rc.d
mkdir .old
pivot_root . .old
umount -l /.old
exec env -i container=lockgate-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=basic.target
