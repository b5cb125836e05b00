# The same folder as an .rpm. Sourced by package.sh.

make_rpm() {
    local spec=$work/$name.spec
    rpm_spec >"$spec"
    # Nothing of this machine's: no macros of Debian's rpm about its own folders, no name of the host.
    HOME=$work rpmbuild -bb --quiet --target "$rpm_arch" --buildroot "$work/buildroot" \
        --define "_topdir $work/rpmbuild" --define "_rpmdir $out" --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
        --define "_buildhost localhost" --define "use_source_date_epoch_as_buildtime 1" \
        --define "clamp_mtime_to_source_date_epoch 1" "$spec" >/dev/null
}

rpm_spec() {
    # No debuginfo, nothing stripped or compressed: the programs may be another architecture's.
    cat <<-SPEC
		%define __os_install_post %{nil}
		%define debug_package %{nil}
		%define _build_id_links none
		%define _binary_payload $rpm_compression
		Name: $name
		Version: $version
		Release: 1
		Summary: $summary
		License: Apache-2.0
		Group: System Environment/Base
		AutoReqProv: no
		$(rpm_relations Requires "$rpm_requires")
		$(rpm_relations Recommends "$rpm_recommends")
		$(rpm_relations Suggests "$rpm_suggests")

		%description
		$description

		%install
		mkdir -p %{buildroot}
		cp -a "$stage/." %{buildroot}/
	SPEC
    if [ -n "$unit" ]; then
        local script
        for script in post preun postun; do
            printf '\n%%%s\n' "$script"
            fill_in "$here/rpm/$script"
        done
    fi
    printf '\n%%files\n%%defattr(-,root,root,-)\n'
    rpm_files
}

rpm_relations() {
    local relation
    [ -z "$2" ] || tr , '\n' <<<"$2" | while read -r relation; do echo "$1: $relation"; done
}

# Every file, and the folders that are the packages' own.
rpm_files() {
    (cd "$stage" && find . -type f -printf '/%P\n' | sort) | while read -r path; do
        case "$path" in
            /etc/*) echo "%config(noreplace) \"$path\"" ;;
            */copyright) echo "%license \"$path\"" ;;
            /usr/share/doc/* | /usr/share/man/*) echo "%doc \"$path\"" ;;
            *) echo "\"$path\"" ;;
        esac
    done
    (cd "$stage" && find . -type d \( -path './etc/imgctl' -o -path './var/lib/*' -o -path './usr/share/doc/*' \) \
        -printf '%%dir %%attr(%m,root,root) "/%P"\n' | sort)
}
