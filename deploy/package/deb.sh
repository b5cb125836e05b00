# One staged folder as a .deb. Sourced by package.sh.

make_deb() {
    local control=$stage/DEBIAN script
    mkdir "$control"
    deb_control >"$control/control"
    # Kept as the administrator has them.
    (cd "$stage" && find . -path './etc/*' -type f -printf '/%P\n' | sort) >"$control/conffiles"
    [ -s "$control/conffiles" ] || rm "$control/conffiles"
    if [ -n "$unit" ]; then
        for script in postinst prerm postrm; do
            [ ! -f "$here/deb/$script" ] || fill_in "$here/deb/$script" >"$control/$script"
        done
        # What is the package's own when it is purged.
        [ ! -f "$here/deb/$name.purge" ] || cat "$here/deb/$name.purge" >>"$control/postrm"
        chmod 755 "$control"/post* "$control"/pre*
    fi
    (cd "$stage" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$control/md5sums"
    find "$control" -exec touch --date="@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --build --root-owner-group "${deb_compression[@]}" "$stage" "$out/${name}_${version}_$deb_arch.deb" >/dev/null
    rm -r "$control"
}

deb_control() {
    cat <<-CONTROL
		Package: $name
		Version: $version
		Architecture: $deb_arch
		Maintainer: The imgctl maintainers <maintainers@imgctl.invalid>
		Section: admin
		Priority: optional
		Installed-Size: $(du -s --apparent-size -k "$stage" | cut -f 1)
		${deb_depends:+Depends: $deb_depends
		}${deb_recommends:+Recommends: $deb_recommends
		}${deb_suggests:+Suggests: $deb_suggests
		}Description: $summary
		$(sed 's/^/ /' <<<"$description")
	CONTROL
}

fill_in() {
    sed "s/@UNIT@/$unit/g; s/@NAME@/$name/g" "$1"
}
