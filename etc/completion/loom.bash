# bash completion of loom(1).

# What loomd says of its backends; nothing if it cannot be asked.
_loom_ask() {
	timeout 2 "${_loom_command[@]}" backends --json 2>/dev/null
}

_loom_ids() {
	_loom_ask | grep -o '"id": *[0-9][0-9]*' | grep -o '[0-9]*$' | sort -un
}

_loom_services() {
	_loom_ask | grep -o '"service": *"[A-Za-z0-9_.-]*"' | cut -d'"' -f4 | sort -u
}

_loom_words() {
	local common='--instance --socket --url --token-file --json --help --version'

	case "$1" in
	'') echo "status services backends health conns stats trace reload config doctor decap irq help $common" ;;
	status | services | health | stats) echo "--watch $common" ;;
	backends) echo "add rm weight drain undrain --watch $common" ;;
	'backends add') echo "--weight --id --service $common" ;;
	'backends drain') echo "--deadline $common" ;;
	'backends rm') echo "--deadline --force --wait $common" ;;
	conns) echo "--client --backend --state --limit --all --watch $common" ;;
	trace) echo "--duration --address --port --proto --backend --drops --sample --count --write $common" ;;
	reload) echo "--reset $common" ;;
	doctor) echo "--config $common" ;;
	decap) echo "--iface --vip --mode --gue-port --pin-path --check --show --detach $common" ;;
	irq) echo 'plan apply show' ;;
	'irq plan') echo "--iface --cpus --numa --root $common" ;;
	'irq apply') echo "--iface --cpus --numa --force --root $common" ;;
	'irq show') echo "--iface --root --watch $common" ;;
	help) echo 'status services backends health conns stats trace reload config doctor decap irq' ;;
	'help backends') echo 'add rm weight drain undrain' ;;
	'help irq') echo 'plan apply show' ;;
	*) echo "$common" ;;
	esac
}

_loom() {
	local cur prev words cword
	local -a _loom_command=("${COMP_WORDS[0]}")
	local verb='' operands=0 i word

	# Not _init_completion: it is there with the bash-completion package only.
	words=("${COMP_WORDS[@]}")
	cword=$COMP_CWORD
	cur=${words[cword]}
	prev=${words[cword - 1]}
	COMPREPLY=()

	for ((i = 1; i < cword; i++)); do
		word=${words[i]}
		case "$word" in
		--instance | --socket | --url | --token-file)
			[ $((i + 1)) -lt "$cword" ] && _loom_command+=("$word" "${words[i + 1]}")
			((i++))
			;;
		--weight | --id | --service | --deadline | --client | --backend | --state | --limit | --duration | --address | --port | --proto | --sample | --count | --write | -w | --config | -c | --iface | --vip | --mode | --gue-port | --pin-path | -i | --cpus | --root) ((i++)) ;;
		-*) ;;
		*)
			case "$verb" in
			'') verb=$word ;;
			backends | irq | help)
				if [ "$operands" = 0 ]; then verb="$verb $word"; else ((operands++)); fi
				;;
			*) ((operands++)) ;;
			esac
			;;
		esac
	done

	case "$prev" in
	--iface)
		mapfile -t COMPREPLY < <(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$cur")
		return
		;;
	--mode)
		mapfile -t COMPREPLY < <(compgen -W 'native generic' -- "$cur")
		return
		;;
	--socket | --token-file | --config | -c | --write | -w | --pin-path)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--iface | -i)
		mapfile -t COMPREPLY < <(compgen -W "$(ls /sys/class/net)" -- "$cur")
		return
		;;
	--root)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--backend)
		mapfile -t COMPREPLY < <(compgen -W "$(_loom_ids)" -- "$cur")
		return
		;;
	--service)
		mapfile -t COMPREPLY < <(compgen -W "$(_loom_services)" -- "$cur")
		return
		;;
	--proto)
		mapfile -t COMPREPLY < <(compgen -W 'tcp udp icmp icmpv6' -- "$cur")
		return
		;;
	--state)
		mapfile -t COMPREPLY < <(compgen -W 'udp syn_sent syn_recv established fin_wait time_wait closed' -- "$cur")
		return
		;;
	--duration | --address | --port | --sample | --count | --instance | --url | --weight | --id | --deadline | --client | --limit | --vip | --gue-port | --cpus) return ;;
	esac

	case "$verb" in
	'backends rm' | 'backends weight' | 'backends drain' | 'backends undrain')
		if [ "$operands" = 0 ] && [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_loom_ids)" -- "$cur")
			return
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$(_loom_words "$verb")" -- "$cur")
}

complete -F _loom loom
