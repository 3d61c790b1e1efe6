// Package doorwardtest is for the tests of programs that embed Doorward.
package doorwardtest
