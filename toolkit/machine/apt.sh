# `install` installs the names after it and prints what it waits for. `begin` returns once the mirrors have answered and apt
# is at work on them; `fetch` waits until that has all its files from the mirrors; `install` waits for its end, and tries
# once more what did not come of it. The last line of standard error says what stands in the way.
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a UCF_FORCE_CONFFOLD=1
stamp=/run/toolkit/apt-updated
unit=toolkit-apt.service
begun=/run/toolkit/apt-begun
# Not under /run, where many a machine lets nothing be executed.
beside=/var/lib/toolkit/apt
patience=600
options="--quiet --yes --option Dpkg::Use-Pty=0 --option DPkg::Lock::Timeout=$patience --option Acquire::Retries=2
  --option Dpkg::Options::=--force-confdef --option Dpkg::Options::=--force-confold"
how=$1; shift
# Only who asks for a version means to move what is held.
case "$*" in *=*) moved='--allow-downgrades --allow-change-held-packages' ;; *) moved= ;; esac
said=$(mktemp) || exit 1
trap 'rm -f "$said"' EXIT
mkdir -p /run/toolkit

# The process that holds a lock file; nothing where it is free. Only the kernel can tell for sure, and perl, which is
# on every Debian, can ask it: a struct flock goes in as a wish and comes back as the lock that stands against it.
holder() {
  [ ! -e "$1" ] || perl -MFcntl -e '
    open my $file, "+<", $ARGV[0] or exit;
    my $lock = pack "s s x4 q q l", F_WRLCK, 0, 0, 0, 0;
    fcntl $file, F_GETLK, $lock or exit;
    my ($kind, undef, undef, undef, $pid) = unpack "s s x4 q q l", $lock;
    print $pid if $kind != F_UNLCK;
  ' "$1"
}

wait_for_lock() {
  waited=0
  for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock; do
    while pid=$(holder "$lock"); [ -n "$pid" ]; do
      name=$(cat "/proc/$pid/comm" 2>/dev/null || echo 'another process')
      [ $((waited % 15)) -ne 0 ] || echo "waiting for $name (process $pid), which holds $lock"
      if [ "$waited" -ge "$patience" ]; then
        echo "$name (process $pid) has held $lock for $patience s: let it finish or stop it, then run the same again" >&2
        exit 100
      fi
      sleep 1
      waited=$((waited + 1))
    done
  done
}

wait_for_first_boot() {
  [ -d /run/cloud-init ] && [ ! -e /var/lib/cloud/instance/boot-finished ] && command -v cloud-init >/dev/null || return 0
  echo 'waiting for cloud-init to finish its first boot'
  timeout $patience cloud-init status --wait >/dev/null 2>&1 || true
}

lists_are_fresh() {
  [ -e "$stamp" ] && [ -z "$(find "$stamp" -mmin +60)" ] || return 1
  # Everything else in /etc/apt decides what is done with the lists, not what is in them.
  [ -z "$(find /etc/apt/sources.list* /etc/apt/keyrings /etc/apt/trusted.gpg* -cnewer "$stamp" 2>/dev/null | head -n 1)" ]
}

update() {
  # Without the option a mirror that does not answer is a warning and exit code 0.
  if apt-get $options --option APT::Update::Error-Mode=any update </dev/null 2>"$said"; then
    : >"$stamp"
  else
    cat "$said" >&2
    rm -f "$stamp"
  fi
}

explain() {
  if grep -q 'No space left on device\|enough free space' "$said"; then
    echo 'No space left on device: free some (`df -h`, `apt-get clean`), then run the same again'
  elif [ ! -e "$stamp" ] || grep -q 'Failed to fetch\|Could not resolve\|Temporary failure resolving' "$said"; then
    echo 'the package mirror did not answer: check the network, DNS and /etc/apt/sources.list.d, then run the same again'
  elif grep -q 'Unable to locate package\|has no installation candidate' "$said"; then
    echo 'a package has another name here, or its repository is missing: check machine.packages in the host file'
  elif grep -q "^E: Version .* was not found" "$said"; then
    echo 'this version is not in any repository of the machine: `apt-cache policy PACKAGE` lists what is'
  fi >&2
}

install() {
  apt-get $options --no-install-recommends $moved install -- "$@" </dev/null 2>"$said" || { cat "$said" >&2; return 1; }
}

is_at_work() { systemctl --quiet is-active $unit; }

# Docker comes up while apt goes on with what does not need it: its package asks systemctl for that, and waits for the
# answer. Whoever needs Docker waits for it.
lay_beside() {
  rm -rf $beside
  mkdir -p $beside
  # On a full disk it is not whole: then it may not be run, and the real one is found.
  cat >$beside/systemctl <<'END' && chmod 755 $beside/systemctl
#!/bin/sh
case " $* " in *' start '*docker.service* | *' start '*containerd.service*) set -- --no-block "$@" ;; esac
exec /usr/bin/systemctl "$@"
END
}

# A unit of systemd outlives a connection that is cut.
begin() {
  : >$begun.out
  lay_beside
  systemd-run --quiet --collect --unit=$unit --property=KillMode=process --setenv=HOME=/root --setenv=LC_ALL=C.UTF-8 \
    --setenv=DEBIAN_FRONTEND=$DEBIAN_FRONTEND --setenv=NEEDRESTART_MODE=$NEEDRESTART_MODE \
    --setenv=UCF_FORCE_CONFFOLD=$UCF_FORCE_CONFFOLD sh -c '
      beside=$1; shift; apt-get "$@" >"$0.out" 2>&1; echo $? >"$0.code"; rm -rf "$beside"' $begun $beside \
    --option DPkg::Path=$beside:/usr/sbin:/usr/bin:/sbin:/bin $options --no-install-recommends $moved install -- "$@"
}

# What apt says, from where it was last told, and to its end where `$1` is nothing or to the first line that matches.
follow() {
  pid=$(systemctl show --value --property=MainPID $unit)
  told=$(cat $begun.told 2>/dev/null || echo 0)
  [ "${pid:-0}" = 0 ] || tail --follow --lines=+$((told + 1)) --sleep-interval=0.1 --pid="$pid" $begun.out |
    if [ -n "$1" ]; then sed --unbuffered "/$1/q"; else cat; fi
}

# Without anything to fetch there is no line that says so.
fetch() {
  end='^Fetched \|^Preparing to unpack '
  grep --quiet "$end" $begun.out || follow "$end"
  grep --line-number --max-count=1 "$end" $begun.out | cut -d : -f 1 >$begun.told
}

are_there() {
  [ "$(dpkg-query --show --showformat '${db:Status-Status}\n' -- "$@" 2>/dev/null | grep -c '^installed$')" -eq $# ]
}

# A list from an hour ago may name files the mirror has replaced since.
install_from_newer_lists() {
  grep -q 'Failed to fetch' "$said" || return 1
  wait_for_lock
  update
  [ -e "$stamp" ] && install "$@"
}

if [ "$how" = fetch ]; then fetch; exit 0; fi
wait_for_first_boot
if is_at_work; then
  follow
  while is_at_work; do sleep 0.1; done
  ! are_there "$@" || exit 0
fi
rm -f $begun.*
wait_for_lock
[ -z "$(dpkg --audit)" ] || dpkg --force-confdef --force-confold --configure --pending </dev/null || exit 1
lists_are_fresh || update
if [ "$how" = begin ] && [ -e "$stamp" ] && begin "$@"; then exit 0; fi
install "$@" || install_from_newer_lists "$@" || { explain; exit 100; }
