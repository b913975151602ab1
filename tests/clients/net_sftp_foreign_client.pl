# Operations with Perl's Net::SFTP::Foreign, one a line of the input: PORT USER KEY KNOWN_HOSTS. tests/clients/scripted.rs says how
# they are answered.

use strict;
use warnings;

# Names are the bytes that came in.
package Bytes {
    use parent 'Encode::Encoding';
    __PACKAGE__->Define('bytes');
    sub encode { return $_[1] }
    sub decode { return $_[1] }
}

package main;

use Net::SFTP::Foreign;

$| = 1;
my ($port, $user, $key, $known_hosts) = @ARGV;
my @options = map { ('-o' => $_) }
    ('IdentitiesOnly=yes', 'BatchMode=yes', 'IdentityAgent=none', 'StrictHostKeyChecking=yes', "UserKnownHostsFile=$known_hosts");
my $sftp = Net::SFTP::Foreign->new(
    host        => '127.0.0.1',
    port        => $port,
    user        => $user,
    key_path    => $key,
    more        => ['-F', 'none', @options],
    timeout     => 600,
    fs_encoding => 'bytes',
    autodie     => 1,
);

# Written and read like a file of Perl's own.
sub write_lines {
    my ($path) = @_;
    my $file = $sftp->open($path, Net::SFTP::Foreign::Constants::SSH2_FXF_WRITE()
          | Net::SFTP::Foreign::Constants::SSH2_FXF_CREAT() | Net::SFTP::Foreign::Constants::SSH2_FXF_TRUNC());
    print {$file} "line $_\n" for 0 .. 999;
    close $file or die 'close';
    my $back = $sftp->open($path);
    my @lines = <$back>;
    close $back;
    die scalar(@lines) . ' lines' unless join('', @lines) eq join('', map { "line $_\n" } 0 .. 999);
    return;
}

# The library writes beside, under a name that it makes up, and renames it when all is there.
sub put_beside {
    my ($local, $remote) = @_;
    $sftp->put($local, $remote, atomic => 1);
    return;
}

my %operations = (
    put         => sub { $sftp->put($_[0], $_[1], copy_time => 0); return },
    get         => sub { $sftp->get($_[0], $_[1], copy_time => 0); return },
    put_tree    => sub { $sftp->rput($_[0], $_[1]); return },
    get_tree    => sub { $sftp->rget($_[0], $_[1]); return },
    reput       => sub { $sftp->put($_[0], $_[1], resume => 1); return },
    reget       => sub { $sftp->get($_[0], $_[1], resume => 1); return },
    # By itself it keeps times and modes.
    put_timed   => sub { $sftp->put($_[0], $_[1]); return },
    get_timed   => sub { $sftp->get($_[0], $_[1]); return },
    list        => sub { join "\n", @{ $sftp->ls($_[0], names_only => 1) } },
    stat        => sub { my $found = $sftp->stat($_[0]); $found->size . ' ' . $found->mtime },
    rename      => sub { $sftp->rename($_[0], $_[1]); return },
    remove      => sub { $sftp->remove($_[0]); return },
    mkdir       => sub { $sftp->mkdir($_[0]); return },
    rmdir       => sub { $sftp->rmdir($_[0]); return },
    remove_tree => sub { $sftp->rremove($_[0]); return },
    write_lines => \&write_lines,
    put_beside  => \&put_beside,
);

while (my $line = <STDIN>) {
    chomp $line;
    my ($operation, @words) = split /\t/, $line;
    my $given = eval { $operations{$operation}->(@words) };
    if (my $error = $@) {
        $error =~ s/\s+/ /g;
        print "error\t", $sftp->status + 0, "\t$error\n";
        next;
    }
    print map { " $_\n" } split /\n/, $given // '';
    print "ok\n";
}
