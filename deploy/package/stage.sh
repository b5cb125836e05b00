# What each package puts on a node. Sourced by package.sh, which sets name, stage, programs, manual, source_root.

# The program for everybody.
stage_imgctl() {
    install -D -m 755 -t "$stage/usr/bin" "$programs/imgctl"
    # Lists to start from (docs/INSTALL.md).
    install -D -m 644 -t "$stage/usr/share/$name/examples" "$source_root"/deploy/demo/compute.{pkglist,ppc64le.pkglist,exlist}
    stage_manual imgctl 1
}

stage_imgctl_agent() {
    stage_daemon
    install -D -m 644 -t "$stage/etc/imgctl" "$source_root/deploy/config/agent.toml"
    # The agent sets the same modes: package managers fetch as a user of their own, who has to get to the trees.
    install -d -m 711 "$stage/var/lib/imgctl-agent"
}

# Its configuration is written by `imgctl-coordinator init`; one that is there already would be taken for the site's.
stage_imgctl_coordinator() {
    stage_daemon
    install -D -m 644 -t "$stage/usr/share/doc/$name/examples" "$source_root/deploy/config/coordinator.toml"
    install -d -m 755 "$stage/etc/imgctl"
    # The CA's key and the store.
    install -d -m 700 "$stage/var/lib/imgctl"
}

stage_daemon() {
    install -D -m 755 -t "$stage/usr/sbin" "$programs/$name"
    install -D -m 644 -t "$stage/usr/lib/systemd/system" "$source_root/deploy/systemd/$unit"
    stage_manual "$name" 8
}

# Man pages and completions. The pages of a program are its own and those of its verbs, such as imgctl-builds-list.1.
stage_manual() {
    local program=$1 section=$2 page
    for page in "$manual/$program"/*."$section"; do
        install -D -m 644 -t "$stage/usr/share/man/man$section" "$page"
    done
    gzip -9n "$stage/usr/share/man/man$section"/*
    install -D -m 644 "$manual/$program/completion.bash" "$stage/usr/share/bash-completion/completions/$program"
    install -D -m 644 "$manual/$program/completion.zsh" "$stage/usr/share/zsh/site-functions/_$program"
    install -D -m 644 "$manual/$program/completion.fish" "$stage/usr/share/fish/vendor_completions.d/$program.fish"
}

stage_documents() {
    local documents=$stage/usr/share/doc/$name
    install -D -m 644 "$source_root/LICENSE" "$documents/copyright"
    install -D -m 644 "$source_root/CHANGELOG.md" "$documents/changelog"
    gzip -9n "$documents/changelog"
    install -m 644 "$source_root/docs/INSTALL.md" "$documents/INSTALL.md"
    # A release has it; packages that a test makes do without.
    [ ! -f "$manual/licences" ] || gzip -9nc "$manual/licences" >"$documents/third-party-licences.gz"
}
