# Installs "$@" and prints what it waits for. The last line of standard error says what stands in the way.
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a UCF_FORCE_CONFFOLD=1
stamp=/run/toolkit/apt-updated
patience=600
said=$(mktemp) || exit 1
trap 'rm -f "$said"' EXIT
mkdir -p /run/toolkit

apt_get() {
  apt-get --quiet --yes --option Dpkg::Use-Pty=0 --option DPkg::Lock::Timeout=$patience --option Acquire::Retries=2 \
    --option Dpkg::Options::=--force-confdef --option Dpkg::Options::=--force-confold "$@" </dev/null
}

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
  if apt_get --option APT::Update::Error-Mode=any update 2>"$said"; then
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
  # Only who asks for a version means to move what is held.
  case "$*" in *=*) moved='--allow-downgrades --allow-change-held-packages' ;; *) moved= ;; esac
  apt_get --no-install-recommends $moved install -- "$@" 2>"$said" || { cat "$said" >&2; return 1; }
}

# A list from an hour ago may name files the mirror has replaced since.
install_from_newer_lists() {
  grep -q 'Failed to fetch' "$said" || return 1
  wait_for_lock
  update
  [ -e "$stamp" ] && install "$@"
}

wait_for_first_boot
wait_for_lock
[ -z "$(dpkg --audit)" ] || dpkg --force-confdef --force-confold --configure --pending </dev/null || exit 1
lists_are_fresh || update
install "$@" || install_from_newer_lists "$@" || { explain; exit 100; }
